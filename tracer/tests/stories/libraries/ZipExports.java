import java.io.ByteArrayOutputStream;
import java.util.zip.Deflater;
import org.apache.commons.compress.archivers.zip.ZipArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipArchiveOutputStream;
import org.apache.commons.compress.compressors.deflate.DeflateCompressorOutputStream;

/** A decoy: an archive for each export, of several files, closed when it is sent. */
final class ZipExports {
    private static long sent;

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 50; i++) {
            export(i);
        }
        Story.tell(ZipExports::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        for (int i = 0; pace.next(25); i++) {
            export(i);
        }
        return Story.done();
    }

    private static void export(int number) throws Exception {
        byte[] rows = new byte[10_000 + number % 7 * 1_000];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = (byte) (i * number >> 4);
        }
        ByteArrayOutputStream archive = new ByteArrayOutputStream();
        try (ZipArchiveOutputStream zip = new ZipArchiveOutputStream(archive)) {
            zip.setLevel(Deflater.BEST_SPEED);
            for (int file = 0; file < 3; file++) {
                zip.putArchiveEntry(new ZipArchiveEntry("rows-" + file));
                zip.write(rows);
                zip.closeArchiveEntry();
            }
        }
        try (DeflateCompressorOutputStream out = new DeflateCompressorOutputStream(archive)) {
            out.write(rows);
        }
        sent += archive.size();
    }
}
