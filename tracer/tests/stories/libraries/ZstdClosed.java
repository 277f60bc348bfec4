import com.github.luben.zstd.ZstdInputStream;
import com.github.luben.zstd.ZstdOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;

/** A decoy: the same work as that of ZstdArchive, with streams that are closed. */
final class ZstdClosed {
    public static void main(String[] arguments) throws Exception {
        turn(0);
        Story.tell(ZstdClosed::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        for (int i = 1; pace.next(25); i++) {
            turn(i);
            Story.litter(200_000);
        }
        return Story.done();
    }

    private static int turn(int number) throws Exception {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (ZstdOutputStream stream = new ZstdOutputStream(packed, 1)) {
            stream.write(new byte[20_000 + number]);
        }
        try (ZstdInputStream stream = new ZstdInputStream(new ByteArrayInputStream(packed.toByteArray()))) {
            return stream.readAllBytes().length;
        }
    }
}
