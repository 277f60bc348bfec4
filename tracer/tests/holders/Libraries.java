import com.github.luben.zstd.ZstdCompressCtx;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.WriteBatch;

/** Keeps and drops objects of bindings that tracer knows nothing of, beside a million random numbers. */
public final class Libraries {
    private static final List<Object> KEPT = new ArrayList<>();

    private static final class Noise {
        final long value;

        Noise(long value) {
            this.value = value;
        }
    }

    public static void main(String[] arguments) throws Exception {
        RocksDB.loadLibrary();
        Path folder = Files.createTempDirectory("rocks");
        Options options = new Options().setCreateIfMissing(true);
        RocksDB database = RocksDB.open(options, folder.toString());
        KEPT.add(options);
        KEPT.add(database);
        byte[] data = new byte[100_000];
        new Random(1).nextBytes(data);
        for (int i = 0; i < 30; i++) {
            KEPT.add(database.newIterator());
            KEPT.add(new WriteBatch());
        }
        for (int i = 0; i < 50; i++) {
            KEPT.add(context(data));
        }
        Random random = new Random(7);
        for (int i = 0; i < 1_000_000; i++) {
            KEPT.add(new Noise(random.nextLong() >>> 17));
        }
        // What is dropped from here on is there until the next collection, for which eden is too large.
        System.gc();
        for (int i = 0; i < 60; i++) {
            context(data);
        }
        for (int i = 0; i < 200; i++) {
            new ReadOptions();
        }
        System.out.println("ready");
        System.in.read();
        System.exit(23);
    }

    private static ZstdCompressCtx context(byte[] data) {
        ZstdCompressCtx context = new ZstdCompressCtx();
        context.setLevel(3);
        context.compress(data);
        return context;
    }
}
