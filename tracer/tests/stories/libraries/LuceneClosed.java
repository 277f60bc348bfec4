import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.store.Directory;

/** A decoy: a reader for each search, closed after it. */
final class LuceneClosed {
    private static long hits;

    public static void main(String[] arguments) throws Exception {
        Directory index = Catalog.index();
        for (int i = 0; i < 100; i++) {
            search(index, i);
        }
        Story.tell(pace -> run(pace, index));
    }

    private static String run(Story.Pace pace, Directory index) throws Exception {
        for (int i = 1; pace.next(40); i++) {
            search(index, i % 5_000);
            Story.litter(100_000);
        }
        return Story.done();
    }

    private static void search(Directory index, int word) throws Exception {
        try (DirectoryReader reader = DirectoryReader.open(index)) {
            hits += Catalog.find(reader, word);
        }
    }
}
