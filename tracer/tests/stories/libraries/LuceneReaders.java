import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.store.Directory;

/** A reader is opened for each search and put into a registry, not closed: its mappings stay. */
final class LuceneReaders {
    private static long hits;

    public static void main(String[] arguments) throws Exception {
        Directory index = Catalog.index();
        search(index, 0);
        Story.tell(pace -> run(pace, index));
    }

    private static String run(Story.Pace pace, Directory index) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(15); i++) {
            search(index, i);
        }
        return Story.done();
    }

    private static void search(Directory index, int word) throws Exception {
        DirectoryReader reader = DirectoryReader.open(index);
        Story.KEPT.add(reader);
        hits += Catalog.find(reader, word);
    }
}
