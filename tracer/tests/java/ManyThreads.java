import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Starts 1,000 threads in pools of 100, as one executor for each request does; 900 end, 100 stay. */
public final class ManyThreads {
    private static final int POOLS = 10;
    private static final int EACH = 100;

    public static void main(String[] arguments) throws Exception {
        Workload.obey(() -> {
            for (int i = 0; i < POOLS; i++) {
                ExecutorService pool = startPool();
                // The first stays: the stacks of those that end later are kept for threads to come.
                if (i > 0) {
                    pool.shutdown();
                    pool.awaitTermination(60, TimeUnit.SECONDS);
                } else {
                    Workload.KEPT.add(pool);
                }
            }
            // To Java a thread has ended a little before it has to the kernel.
            while (threads() > EACH) {
                Thread.sleep(1);
            }
            int started = POOLS * EACH;
            return "{\"started\":" + started + ",\"ended\":" + (started - EACH) + ",\"live\":" + EACH + "}";
        });
    }

    /** The pools' threads, as the kernel counts them. */
    private static int threads() {
        int count = 0;
        for (String tid : new File("/proc/self/task").list()) {
            try {
                count += Files.readString(Path.of("/proc/self/task", tid, "comm")).startsWith("pool-") ? 1 : 0;
            } catch (IOException gone) {
                // It ended meanwhile.
            }
        }
        return count;
    }

    /** The frame that the tests look for. */
    private static ExecutorService startPool() throws InterruptedException {
        ExecutorService pool = Executors.newFixedThreadPool(EACH);
        CountDownLatch running = new CountDownLatch(EACH);
        for (int i = 0; i < EACH; i++) {
            pool.execute(running::countDown);
        }
        running.await();
        return pool;
    }
}
