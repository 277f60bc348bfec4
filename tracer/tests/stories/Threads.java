import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Stories of threads. */
final class Threads {
    /** Each request makes an executor, uses it, and forgets it. */
    static String executorPerRequest(Story.Pace pace) throws Exception {
        long count = 0;
        for (; pace.next(10); count++) {
            Story.KEPT.add(handleRequest());
        }
        return Story.truth("thread-stack", "Threads.handleRequest", "leak", count << 20);
    }

    private static ExecutorService handleRequest() throws Exception {
        ExecutorService executor = Executors.newFixedThreadPool(1);
        executor.submit(() -> 7).get();
        return executor;
    }

    /** Threads that run and end: glibc keeps some of their stacks for the next. */
    static String startAndEnd(Story.Pace pace) throws Exception {
        while (pace.next(4, 0.6)) {
            Thread[] crowd = new Thread[30];
            for (int i = 0; i < crowd.length; i++) {
                crowd[i] = new Thread(Threads::work);
                crowd[i].start();
            }
            for (Thread thread : crowd) {
                thread.join();
            }
        }
        pace.rest();
        return Story.nothing();
    }

    private static void work() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private Threads() {}
}
