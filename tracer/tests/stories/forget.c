/* Leaks as libraries do: memory, and references to Java objects; and memory that is given back. */
#include <jni.h>
#include <stdlib.h>
#include <string.h>

JNIEXPORT void JNICALL Java_Native_forget(JNIEnv *environment, jclass class, jint bytes)
{
    (void)environment;
    (void)class;
    void *block = malloc((size_t)bytes);
    if (block)
        memset(block, 7, (size_t)bytes);
}

JNIEXPORT void JNICALL Java_Native_remember(JNIEnv *environment, jclass class, jobject object, jint count)
{
    (void)class;
    for (jint i = 0; i < count; i++)
        (*environment)->NewGlobalRef(environment, object);
}

JNIEXPORT jlong JNICALL Java_Native_open(JNIEnv *environment, jclass class, jint bytes)
{
    (void)environment;
    (void)class;
    void *block = malloc((size_t)bytes);
    if (block)
        memset(block, 7, (size_t)bytes);
    return (jlong)block;
}

JNIEXPORT void JNICALL Java_Native_close(JNIEnv *environment, jclass class, jlong block)
{
    (void)environment;
    (void)class;
    free((void *)block);
}
