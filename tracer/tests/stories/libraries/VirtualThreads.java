import java.lang.reflect.Method;
import java.util.concurrent.CountDownLatch;

/** A decoy: virtual threads come and go in hundreds; a few carriers run them all. By reflection: they came with 21. */
final class VirtualThreads {
    private static Method start;

    public static void main(String[] arguments) throws Exception {
        start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        burst();
        Story.tell(VirtualThreads::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        while (pace.next(10)) {
            burst();
        }
        return Story.done();
    }

    private static void burst() throws Exception {
        CountDownLatch done = new CountDownLatch(100);
        for (int i = 0; i < 100; i++) {
            start.invoke(null, (Runnable) () -> work(done));
        }
        done.await();
    }

    private static void work(CountDownLatch done) {
        try {
            Thread.sleep(30);
            Story.litter(5_000);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        done.countDown();
    }
}
