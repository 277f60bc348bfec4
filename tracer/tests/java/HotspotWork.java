import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.zip.CRC32;

/**
 * Warms up compiled code of every kind (inlined, recursive, on-stack replaced, lambdas, method handles,
 * native wrappers), starts threads with telling names, prints "ready" and stays until standard input
 * ends.
 */
public class HotspotWork {
    interface Shape {
        int area(int scale);
    }

    static final class Square implements Shape {
        @Override
        public int area(int scale) {
            return clamp(scale * scale);
        }
    }

    static final class Circle implements Shape {
        @Override
        public int area(int scale) {
            return clamp(3 * scale * scale / 4);
        }
    }

    static volatile int sink;

    static int clamp(int value) {
        return value < 0 ? -value : value;
    }

    static int recurse(int depth, Shape shape) {
        if (depth == 0) {
            return shape.area(depth + 7);
        }
        return recurse(depth - 1, shape) + 1;
    }

    static int collect(int seed) {
        Map<Integer, String> map = new HashMap<>();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            map.put(seed + i, "v" + i);
            names.add(map.get(seed + i));
        }
        return names.size();
    }

    static int longLoop(int times) {
        int total = 0;
        for (int i = 0; i < times; i++) {
            total += clamp(i ^ total);
        }
        return total;
    }

    static void warmUp(int rounds) throws Throwable {
        IntUnaryOperator lambda = x -> clamp(x - 3);
        MethodHandle handle = MethodHandles.lookup()
                .findStatic(HotspotWork.class, "clamp", MethodType.methodType(int.class, int.class));
        CRC32 crc = new CRC32();
        byte[] bytes = new byte[64];
        Shape[] shapes = {new Square(), new Circle()};
        for (int i = 0; i < rounds; i++) {
            int value = recurse(i % 12, shapes[i & 1]);
            value += lambda.applyAsInt(i) + (int) handle.invokeExact(i) + collect(i);
            crc.update(bytes);
            System.arraycopy(bytes, 0, bytes, 8, 8);
            value += (int) crc.getValue() + bytes.hashCode() + Thread.currentThread().getName().length();
            sink = value;
        }
        sink += longLoop(200_000);
    }

    static void park(String name) {
        Thread thread = new Thread(() -> {
            try {
                Thread.sleep(1_000_000_000L);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] args) throws Throwable {
        int rounds = args.length > 0 ? Integer.parseInt(args[0]) : 30_000;
        park("a thread whose name is much longer than fifteen bytes");
        park("gr\u00fc\u00dfe");
        park("\u65e5\u672c\u8a9e");
        park("");
        warmUp(rounds);
        System.out.println("ready");
        while (System.in.read() >= 0) {
            warmUp(100);
        }
    }
}
