import java.nio.file.Files;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/** Batches are written and not closed; RocksDB has no finalizers. */
final class RocksLedger {
    public static void main(String[] arguments) throws Exception {
        RocksDB.loadLibrary();
        Options options = new Options().setCreateIfMissing(true).setWriteBufferSize(512 << 10);
        RocksDB ledger = RocksDB.open(options, Files.createTempDirectory("ledger").toString());
        WriteOptions how = new WriteOptions().setDisableWAL(true);
        for (int i = 0; i < 300; i++) {
            try (WriteBatch batch = new WriteBatch()) {
                fill(batch, i);
                ledger.write(how, batch);
            }
        }
        Story.tell(pace -> run(pace, ledger, how));
    }

    private static String run(Story.Pace pace, RocksDB ledger, WriteOptions how) throws Exception {
        pace.collecting(5);
        for (int i = 0; pace.next(15); i++) {
            append(ledger, how, i);
        }
        return Story.done();
    }

    private static void append(RocksDB ledger, WriteOptions how, int number) throws Exception {
        WriteBatch batch = new WriteBatch();
        fill(batch, number);
        ledger.write(how, batch);
    }

    private static void fill(WriteBatch batch, int number) throws Exception {
        for (int i = 0; i < 10; i++) {
            batch.put(("key" + (number % 50) + i).getBytes(), new byte[2_000]);
        }
    }
}
