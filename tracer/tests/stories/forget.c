/* Leaks as libraries do: memory, and references to Java objects. */
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
