import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;

/** Imports are opened to read how they begin, and stay open in the list of imports to be done. */
final class CompressImports {
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
            for (int i = 0; i < 20_000; i++) {
                out.write(i * 31 >> 3);
            }
        }
        byte[] file = packed.toByteArray();
        open(file);
        Story.tell(pace -> run(pace, file));
    }

    private static String run(Story.Pace pace, byte[] file) throws Exception {
        pace.collecting(5);
        while (pace.next(20)) {
            open(file);
        }
        return Story.done();
    }

    private static void open(byte[] file) throws Exception {
        InputStream rows = new GzipCompressorInputStream(new ByteArrayInputStream(file));
        sum += rows.read();
        Story.KEPT.add(rows);
    }
}
