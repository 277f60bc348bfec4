package shop;

import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import shop.web.CheckoutController;

/**
 * A small web shop that loses native memory. Its Java heap stays flat, so nothing that looks at the heap sees a leak.
 *
 * <p>Four workers serve 60 requests a second. The largest leak by far is a stream that nobody closes
 * ({@link shop.checkout.ReceiptArchive#load}); the others are smaller. Prints {@code ready} once it serves, and ends
 * when its standard input does.
 */
public final class Main {
    private static final int REQUESTS_PER_SECOND = 60;

    public static void main(String[] arguments) throws Exception {
        CheckoutController controller = new CheckoutController();
        AtomicInteger threads = new AtomicInteger();
        ScheduledExecutorService workers = Executors.newScheduledThreadPool(4, task -> {
            Thread thread = new Thread(task, "http-worker-" + threads.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        });
        AtomicInteger requests = new AtomicInteger();
        // The first requests load classes; those are served before anyone is told that the shop is open.
        for (int i = 0; i < 100; i++) {
            controller.handle(requests.incrementAndGet());
        }
        workers.scheduleAtFixedRate(() -> {
            try {
                controller.handle(requests.incrementAndGet());
            } catch (Exception failure) {
                failure.printStackTrace();
                System.exit(1);
            }
        }, 0, 1_000_000 / REQUESTS_PER_SECOND, TimeUnit.MICROSECONDS);
        System.out.println("ready");

        while (System.in.read() >= 0) {
            // Nothing is asked of the shop but to run until its input ends.
        }
        System.exit(0);
    }
}
