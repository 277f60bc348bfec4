import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import java.util.zip.Inflater;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** Stories of java.util.zip. */
final class Zip {
    /** z_stream, inflate state and window of zlib 1.2.13; others differ by some bytes. */
    private static final long STREAM_BYTES = 112 + 7_160 + 32_768;

    /** Its streams are read and neither closed nor let go. */
    static String keepStreams(Story.Pace pace) throws Exception {
        byte[] packed = packed();
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(60); count++) {
            Story.KEPT.add(openFeed(packed));
        }
        return Story.truth("zlib", "Zip.openFeed", "leak", count * STREAM_BYTES);
    }

    private static Object openFeed(byte[] packed) throws IOException {
        GZIPInputStream stream = new GZIPInputStream(new ByteArrayInputStream(packed), 64);
        stream.read();
        return stream;
    }

    /** Each connection has a Deflater, and nobody ends it when the connection goes. */
    static String keepDeflaters(Story.Pace pace) throws Exception {
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(10); count++) {
            Story.KEPT.add(connect());
        }
        return Story.truth("zlib", "Zip.connect", "leak", count * 268_000);
    }

    private static Deflater connect() {
        Deflater deflater = new Deflater();
        deflater.setInput(new byte[1_000]);
        deflater.deflate(new byte[100]);
        return deflater;
    }

    /** Small Java objects with large native ones, dropped: only a collection frees them. */
    static String dropInflaters(Story.Pace pace) throws Exception {
        byte[] packed = packed();
        while (pace.next(60)) {
            parse(packed);
        }
        return Story.truth("zlib", "Zip.parse", "gc-pending", 0);
    }

    private static void parse(byte[] packed) throws Exception {
        Inflater inflater = new Inflater(true);
        inflater.setInput(packed, 10, packed.length - 10);
        inflater.inflate(new byte[100]);
    }

    /** Contexts of many small parts with an Inflater each; the last few are kept, as if by a cache. */
    static String dropContexts(Story.Pace pace) throws Exception {
        byte[] packed = packed();
        ArrayDeque<List<Inflater>> last = new ArrayDeque<>();
        while (pace.next(5)) {
            List<Inflater> context = new ArrayList<>();
            for (int i = 0; i < 30; i++) {
                context.add(newPart(packed));
            }
            last.add(context);
            if (last.size() > 5) {
                last.poll();
            }
            Story.litter(12 << 20);
        }
        Story.KEPT.add(last);
        return Story.truth("zlib", "Zip.newPart", "gc-pending", 0);
    }

    private static Inflater newPart(byte[] packed) throws Exception {
        Inflater inflater = new Inflater(true);
        inflater.setInput(packed, 10, packed.length - 10);
        inflater.inflate(new byte[100]);
        return inflater;
    }

    static String dropDeflaters(Story.Pace pace) throws Exception {
        while (pace.next(15)) {
            respond();
        }
        return Story.truth("zlib", "Zip.respond", "gc-pending", 0);
    }

    private static void respond() {
        Deflater deflater = new Deflater(Deflater.BEST_SPEED);
        deflater.setInput(new byte[1_000]);
        deflater.deflate(new byte[100]);
    }

    /** Jars are opened, read from, and stay open; their central directories stay with them. */
    static String openJars(Story.Pace pace) throws Exception {
        Path jar = Files.createTempFile("story", ".jar");
        try (OutputStream file = Files.newOutputStream(jar);
                ZipOutputStream zip = new ZipOutputStream(file)) {
            for (int i = 0; i < 500; i++) {
                zip.putNextEntry(new ZipEntry("com/acme/of/some/length/Class" + i + ".class"));
                zip.write(new byte[1_000]);
            }
        }
        for (int i = 0; pace.next(20, 0.4); i++) {
            // Each is another file: the JDK keeps one table for each.
            Path copy = Files.createTempFile("story", ".jar");
            Files.copy(jar, copy, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
            ZipFile zip = new ZipFile(copy.toFile());
            zip.getInputStream(zip.getEntry("com/acme/of/some/length/Class7.class")).readAllBytes();
            Story.KEPT.add(zip);
            Files.delete(copy);
        }
        Files.delete(jar);
        pace.rest();
        return Story.nothing();
    }

    private static byte[] packed() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream stream = new GZIPOutputStream(bytes)) {
            stream.write(new byte[10_000]);
        }
        return bytes.toByteArray();
    }

    private Zip() {}
}
