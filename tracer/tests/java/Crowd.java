import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * As many threads as it is told, each with a direct buffer that its ThreadLocal alone holds; or ("collecting") a program that
 * does nothing but collect a heap of many objects. Says "ready", and ends when it is told.
 */
public final class Crowd {
    private static final ThreadLocal<ByteBuffer> OWN = new ThreadLocal<>();
    private static final int SIZE = 4_099;
    private static final int OBJECTS = 4_000_000;

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("collecting")) {
            collect();
        }
        int count = Integer.parseInt(arguments[0]);
        CountDownLatch ready = new CountDownLatch(count);
        CountDownLatch end = new CountDownLatch(1);
        for (int i = 0; i < count; i++) {
            Thread thread = new Thread(null, () -> hold(ready, end), "crowd-" + i, 256 << 10);
            thread.start();
        }
        ready.await();
        System.out.println("ready");
        System.in.read();
        end.countDown();
        System.out.println("done");
    }

    private static void hold(CountDownLatch ready, CountDownLatch end) {
        OWN.set(ByteBuffer.allocateDirect(SIZE));
        ready.countDown();
        try {
            end.await();
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    private static void collect() {
        List<Object> objects = new ArrayList<>(OBJECTS);
        for (int i = 0; i < OBJECTS; i++) {
            objects.add(new int[] {i});
        }
        System.out.println("ready");
        while (objects.size() == OBJECTS) {
            System.gc();
        }
    }
}
