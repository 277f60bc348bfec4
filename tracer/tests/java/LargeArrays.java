import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;

/**
 * Large arrays of numbers among small objects, all of them old, and direct buffers that objects between the arrays hold. Says
 * how many bytes the arrays have, then "ready"; with "busy" it goes on replacing arrays; ends when it is told.
 */
public final class LargeArrays {
    static final List<Object> KEPT = new ArrayList<>();
    static final int ARRAYS = 600;
    static volatile boolean ended;

    static final class Node {
        Object before;
        ByteBuffer buffer;
    }

    static Object numbers(Random random) {
        int bytes = 60_000 + random.nextInt(300_000);
        switch (random.nextInt(3)) {
            case 0:
                return new byte[bytes];
            case 1:
                return new int[bytes / 4];
            default:
                return new long[bytes / 8];
        }
    }

    public static void main(String[] arguments) throws Exception {
        Random random = new Random(7);
        for (int i = 0; i < ARRAYS; i++) {
            Node node = new Node();
            node.before = numbers(random);
            node.buffer = i % 6 == 0 ? ByteBuffer.allocateDirect(3_001) : null;
            KEPT.add(node);
            // References in large arrays are copied.
            Object[] references = new Object[i % 50 == 0 ? 20_000 : 2];
            references[references.length / 2] = new int[] {i};
            KEPT.add(references);
        }
        for (int i = 0; i < 3; i++) {
            System.gc();
        }
        boolean busy = arguments.length > 0 && arguments[0].equals("busy");
        Thread replacing = new Thread(() -> {
            while (busy && !ended) {
                ((Node) KEPT.get(2 * random.nextInt(ARRAYS))).before = numbers(random);
                // Not so fast that it does nothing but collect.
                LockSupport.parkNanos(500_000);
            }
        });
        replacing.start();
        System.out.println("ready");
        System.in.read();
        ended = true;
        replacing.join();
        System.out.println("done");
    }
}
