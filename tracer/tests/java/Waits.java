import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.Inflater;

/** A small JVM that has a few of everything, and rests: loaders, threads, streams of zlib, direct buffers. */
public final class Waits {
    private static final List<Object> HELD = new ArrayList<>();

    private static final class Loader extends ClassLoader {
        Loader() {
            super(null);
        }

        Class<?> define(byte[] code) {
            return defineClass(null, code, 0, code.length);
        }
    }

    private static final class Loaded {}

    public static void main(String[] arguments) throws Exception {
        byte[] code;
        try (InputStream in = Waits.class.getResourceAsStream("Waits$Loaded.class")) {
            code = in.readAllBytes();
        }
        for (int i = 0; i < 30; i++) {
            HELD.add(new Loader().define(code));
            HELD.add(new Inflater());
            HELD.add(ByteBuffer.allocateDirect(4096));
        }
        for (int i = 0; i < 10; i++) {
            Thread thread = new Thread(() -> {
                while (true) {
                    LockSupport.park();
                }
            }, "waiting-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        System.out.println("ready");
        System.in.read();
    }
}
