import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.function.IntUnaryOperator;

/**
 * Loads classes that differ only in their name, each by a loader of its own, and runs them until they are
 * compiled. Prints "ready", and after each line of standard input forgets them all, loads as many others, and
 * prints "ready" again.
 */
public class HotspotUnload {
    /** Its name is patched: the digits are a serial number. */
    public static final class Worker0000 implements IntUnaryOperator {
        @Override
        public int applyAsInt(int times) {
            int total = 0;
            for (int i = 0; i < times; i++) {
                total += step(i);
            }
            return total;
        }

        static int step(int i) {
            return (i * 31) ^ (i >>> 3);
        }
    }

    static final class Loader extends ClassLoader {
        Class<?> define(String name, byte[] bytes) {
            return defineClass(name, bytes, 0, bytes.length);
        }
    }

    static final String TEMPLATE = "HotspotUnload$Worker0000";
    static final int CLASSES = 20;
    static volatile int sink;
    static int serial;

    static byte[] template() throws IOException {
        try (InputStream in = HotspotUnload.class.getResourceAsStream(TEMPLATE + ".class")) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            for (int b = in.read(); b >= 0; b = in.read()) {
                out.write(b);
            }
            return out.toByteArray();
        }
    }

    static IntUnaryOperator[] load(byte[] template) throws ReflectiveOperationException {
        IntUnaryOperator[] workers = new IntUnaryOperator[CLASSES];
        for (int i = 0; i < CLASSES; i++) {
            String name = TEMPLATE.substring(0, TEMPLATE.length() - 4) + (1000 + serial++);
            String text = new String(template, StandardCharsets.ISO_8859_1).replace(TEMPLATE, name);
            byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
            workers[i] = (IntUnaryOperator) new Loader().define(name, bytes).getDeclaredConstructor().newInstance();
            for (int round = 0; round < 200; round++) {
                sink += workers[i].applyAsInt(1_000);
            }
        }
        return workers;
    }

    public static void main(String[] args) throws Exception {
        byte[] template = template();
        IntUnaryOperator[] workers = load(template);
        do {
            System.out.println("ready " + workers.length);
            workers = null;
            for (int b = System.in.read(); b != '\n'; b = System.in.read()) {
                if (b < 0) {
                    return;
                }
            }
            for (int i = 0; i < 3; i++) {
                System.gc();
                Thread.sleep(20);
            }
            workers = load(template);
        } while (true);
    }
}
