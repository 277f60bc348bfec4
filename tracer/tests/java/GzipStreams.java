import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Opens 5,000 GZIPInputStreams, reads from each, and closes all but 500.
 *
 * <p>Each holds a {@code z_stream}, zlib's inflate state, and a window, which zlib allocates when it first inflates.
 */
public final class GzipStreams {
    private static final int OPENED = 5_000;
    private static final int KEPT_EVERY = 10;

    /** Sizes of zlib 1.2.13 on x86-64, as Debian's JDK uses it. */
    private static final long BYTES_EACH = 112 + 7_160 + 32_768;

    public static void main(String[] arguments) throws Exception {
        byte[] compressed = compress();
        Workload.obey(() -> {
            int kept = 0;
            for (int i = 0; i < OPENED; i++) {
                GZIPInputStream stream = open(compressed);
                if (i % KEPT_EVERY == 0) {
                    Workload.KEPT.add(stream);
                    kept++;
                } else {
                    stream.close();
                }
            }
            return "{\"zlib_bytes\":" + kept * BYTES_EACH + ",\"zlib_count\":" + 3 * kept + ",\"streams\":" + kept + "}";
        });
    }

    /** The frame that the tests look for. */
    private static GZIPInputStream open(byte[] compressed) throws IOException {
        GZIPInputStream stream = new GZIPInputStream(new ByteArrayInputStream(compressed), 64);
        if (stream.read() != 'x') {
            throw new IOException("not what was written");
        }
        return stream;
    }

    private static byte[] compress() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream stream = new GZIPOutputStream(bytes)) {
            for (int i = 0; i < 1_000; i++) {
                stream.write('x');
            }
        }
        return bytes.toByteArray();
    }
}
