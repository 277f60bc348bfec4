import com.github.luben.zstd.ZstdOutputStream;
import java.io.ByteArrayOutputStream;

/** Documents are compressed; the streams are flushed and dropped, not closed. Their finalizers free the contexts. */
final class ZstdArchive {
    public static void main(String[] arguments) throws Exception {
        pack(0);
        Story.tell(ZstdArchive::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(8); i++) {
            pack(i);
        }
        return Story.done();
    }

    private static int pack(int number) throws Exception {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        ZstdOutputStream stream = new ZstdOutputStream(packed, 1);
        byte[] document = new byte[20_000];
        for (int i = 0; i < document.length; i++) {
            document[i] = (byte) (i * number >> 5);
        }
        stream.write(document);
        stream.flush();
        return packed.size();
    }
}
