import java.nio.file.Files;
import java.util.Random;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.FlushOptions;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;

/** A decoy: a cache of blocks fills up to its limit within seconds, and stays there while reads go on. */
final class RocksCache {
    private static final int KEYS = 10_000;

    public static void main(String[] arguments) throws Exception {
        RocksDB.loadLibrary();
        BlockBasedTableConfig table = new BlockBasedTableConfig().setBlockCache(new LRUCache(8 << 20));
        Options options =
            new Options().setCreateIfMissing(true).setWriteBufferSize(1 << 20).setTableFormatConfig(table);
        RocksDB stock = RocksDB.open(options, Files.createTempDirectory("stock").toString());
        Random random = new Random(5);
        byte[] value = new byte[2_000];
        for (int key = 0; key < KEYS; key++) {
            random.nextBytes(value);
            stock.put(name(key), value);
        }
        try (FlushOptions flush = new FlushOptions().setWaitForFlush(true)) {
            stock.flush(flush);
        }
        stock.compactRange();
        Story.tell(pace -> run(pace, stock, random));
    }

    private static String run(Story.Pace pace, RocksDB stock, Random random) throws Exception {
        long sum = 0;
        while (pace.next(50)) {
            for (int i = 0; i < 20; i++) {
                sum += look(stock, random.nextInt(KEYS));
            }
        }
        return Story.done();
    }

    private static int look(RocksDB stock, int key) throws Exception {
        return stock.get(name(key)).length;
    }

    private static byte[] name(int key) {
        return ("article-" + key).getBytes();
    }
}
