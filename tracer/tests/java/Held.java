import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/**
 * Holds what a JVM that leaked for weeks holds, each in a number that is known: inflaters with and without a
 * window, deflaters, direct buffers, parked threads, class loaders. Says "ready" and waits for a line.
 */
public class Held {
    /** A loader of which there are many. */
    static class PluginLoader extends ClassLoader {
        PluginLoader() {
            super(null);
        }

        Class<?> define(byte[] code) {
            return defineClass("Held$Plugin", code, 0, code.length);
        }
    }

    static class Plugin {
    }

    static final List<Object> HELD = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        byte[] text = new byte[200_000];
        for (int i = 0; i < text.length; i++) {
            text[i] = (byte) (i % 251 * i);
        }
        Deflater once = new Deflater();
        once.setInput(text);
        once.finish();
        byte[] packed = Arrays.copyOf(new byte[0], 300_000);
        int length = once.deflate(packed);
        once.end();
        byte[] out = new byte[10_000];
        for (int i = 0; i < 500; i++) {
            Inflater inflater = new Inflater();
            HELD.add(inflater);
            if (i % 5 < 3) {
                inflater.setInput(packed, 0, length / 2);
                inflater.inflate(out);
            }
        }
        for (int i = 0; i < 20; i++) {
            Deflater deflater = new Deflater(i % 2 == 0 ? 9 : 1);
            HELD.add(deflater);
            deflater.setInput(text);
            deflater.deflate(out);
        }
        // Ended ones do not count.
        for (int i = 0; i < 50; i++) {
            Inflater inflater = new Inflater(true);
            inflater.end();
            new Deflater().end();
        }
        for (int i = 0; i < 100; i++) {
            HELD.add(ByteBuffer.allocateDirect(1 << 20));
        }
        byte[] code;
        try (InputStream in = Held.class.getResourceAsStream("Held$Plugin.class")) {
            code = in.readAllBytes();
        }
        for (int i = 0; i < 300; i++) {
            HELD.add(new PluginLoader().define(code));
        }
        CountDownLatch parked = new CountDownLatch(150);
        for (int i = 0; i < 150; i++) {
            Thread thread = new Thread(() -> {
                parked.countDown();
                while (true) {
                    LockSupport.park();
                }
            }, "request-handler-of-the-web-shop-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        parked.await();
        System.out.println("ready");
        System.in.read();
        System.out.println(HELD.size());
    }
}
