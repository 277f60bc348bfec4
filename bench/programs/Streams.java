import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Makes and ends zlib's streams on command, as a server does that compresses its answers and gets compressed
 * requests. Commands on stdin, until it closes:
 *
 * <ul>
 * <li>{@code pairs DEPTH COUNT}: COUNT pairs of an Inflater and a Deflater below DEPTH frames, each used for a page
 *     and ended. Answers the nanoseconds of CPU time that they took.
 * <li>{@code keep INFLATERS DEFLATERS}: makes and uses so many, and never ends them.
 * <li>{@code end}: ends those after all.
 * </ul>
 *
 * To be run with {@code descend} never inlined, so that DEPTH is the number of frames on the stack.
 */
public final class Streams {
    private static final byte[] PAGE = "<tr><td>4711<td>An article &amp; more<td>12.50".repeat(90).getBytes();
    private static final byte[] COMPRESSED = compressed();
    private static final List<Closeable> KEPT = new ArrayList<>();

    private static byte[] compressed() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream stream = new GZIPOutputStream(bytes)) {
            stream.write(PAGE);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        return bytes.toByteArray();
    }

    private static InputStream inflater() throws IOException {
        InputStream stream = new GZIPInputStream(new ByteArrayInputStream(COMPRESSED));
        stream.readNBytes(PAGE.length);
        return stream;
    }

    private static GZIPOutputStream deflater() throws IOException {
        GZIPOutputStream stream = new GZIPOutputStream(new ByteArrayOutputStream(COMPRESSED.length));
        stream.write(PAGE);
        stream.finish();
        return stream;
    }

    private static void descend(int depth, long count) throws IOException {
        if (depth > 1) {
            descend(depth - 1, count);
            return;
        }
        for (long i = 0; i < count; i++) {
            inflater().close();
            deflater().close();
        }
    }

    /** The frame by which the kept ones are known. */
    private static void keep(int inflaters, int deflaters) throws IOException {
        for (int i = 0; i < inflaters; i++) {
            KEPT.add(inflater());
        }
        for (int i = 0; i < deflaters; i++) {
            KEPT.add(deflater());
        }
    }

    private static void end() throws IOException {
        for (Closeable stream : KEPT) {
            stream.close();
        }
        KEPT.clear();
    }

    public static void main(String[] arguments) throws Exception {
        // Compiled by the last tier before anything is measured.
        for (int i = 0; i < 20_000; i++) {
            descend(40, 1);
        }
        Thread.sleep(500);
        ThreadMXBean clock = ManagementFactory.getThreadMXBean();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = commands.readLine()) != null; ) {
            String[] words = line.split(" ");
            long begun = clock.getCurrentThreadCpuTime();
            switch (words[0]) {
                case "pairs" -> descend(Integer.parseInt(words[1]), Long.parseLong(words[2]));
                case "keep" -> keep(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
                default -> end();
            }
            System.out.println(clock.getCurrentThreadCpuTime() - begun);
        }
    }
}
