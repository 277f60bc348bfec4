/* fork: the child is another process. What it allocates and frees is not the target's, and it runs unharmed. */
#include <sys/wait.h>

#include "truth.h"

static void work(int count)
{
    for (int i = 0; i < count; i++) {
        void *volatile block = malloc(10007);
        check(block != NULL, "malloc");
        if (i % 2 == 0) {
            free(block);
        }
    }
}

int main(void)
{
    begin();
    void *inherited = malloc(1009);
    check(inherited != NULL, "malloc");
    allocated(1009);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        free(inherited);
        work(1000);
        _exit(5);
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child, "waitpid");
    check(WIFEXITED(status) && WEXITSTATUS(status) == 5, "the child did not end well");
    work(10);
    for (int i = 0; i < 10; i++) {
        allocated(10007);
        if (i % 2 == 0) {
            freed(10007);
        }
    }
    return end();
}
