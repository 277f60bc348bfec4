import java.util.concurrent.CountDownLatch;

/** Starts 40 threads; 25 end at once, 15 wait for ever. */
public final class Threads {
    private static final int ENDING = 25;
    private static final int STAYING = 15;

    public static void main(String[] arguments) throws Exception {
        Workload.obey(() -> {
            for (int i = 0; i < ENDING; i++) {
                Thread thread = start("ending-" + i, () -> {});
                thread.join();
            }
            CountDownLatch running = new CountDownLatch(STAYING);
            for (int i = 0; i < STAYING; i++) {
                start("staying-" + i, () -> {
                    running.countDown();
                    synchronized (Workload.KEPT) {
                        while (true) {
                            try {
                                Workload.KEPT.wait();
                            } catch (InterruptedException interrupted) {
                                return;
                            }
                        }
                    }
                });
            }
            running.await();
            return "{\"threads_started\":" + (ENDING + STAYING) + ",\"threads_exited\":" + ENDING + "}";
        });
    }

    /** The frame that the tests look for. */
    private static Thread start(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }
}
