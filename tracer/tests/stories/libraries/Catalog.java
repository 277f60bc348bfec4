import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.apache.lucene.analysis.core.WhitespaceAnalyzer;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.MMapDirectory;

/** An index of Lucene, in mapped files: what the two stories of it share. */
final class Catalog {
    static Directory index() throws Exception {
        Path folder = Files.createTempDirectory("catalog");
        Directory directory = new MMapDirectory(folder);
        Random random = new Random(11);
        try (IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig(new WhitespaceAnalyzer()))) {
            for (int i = 0; i < 3_000; i++) {
                StringBuilder text = new StringBuilder();
                for (int word = 0; word < 40; word++) {
                    text.append("w").append(random.nextInt(5_000)).append(' ');
                }
                Document document = new Document();
                document.add(new TextField("text", text.toString(), Field.Store.YES));
                writer.addDocument(document);
            }
            writer.forceMerge(1);
        }
        return directory;
    }

    static long find(DirectoryReader reader, int word) throws Exception {
        return new IndexSearcher(reader).search(new TermQuery(new Term("text", "w" + word)), 10).totalHits.value;
    }

    private Catalog() {}
}
