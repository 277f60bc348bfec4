import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.Statement;

/** A decoy: orders come into a database in a file, and leave it when they are done. */
final class H2Orders {
    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory("orders");
        new org.h2.Driver();
        Connection store = DriverManager.getConnection("jdbc:h2:" + folder.resolve("orders") + ";CACHE_SIZE=8192");
        try (Statement statement = store.createStatement()) {
            statement.executeUpdate("create table orders (id int primary key, text varchar(400))");
        }
        for (int i = 0; i < 2_000; i++) {
            accept(store, i);
        }
        Story.tell(pace -> run(pace, store, folder));
    }

    private static String run(Story.Pace pace, Connection store, Path folder) throws Exception {
        for (int i = 2_000; pace.next(100); i++) {
            accept(store, i);
            Story.litter(50_000);
        }
        store.close();
        try (java.util.stream.Stream<Path> files = Files.list(folder)) {
            files.forEach(file -> file.toFile().delete());
        }
        folder.toFile().delete();
        return Story.done();
    }

    private static void accept(Connection store, int id) throws Exception {
        try (PreparedStatement insert = store.prepareStatement("insert into orders values (?, ?)");
             PreparedStatement delete = store.prepareStatement("delete from orders where id = ?")) {
            insert.setInt(1, id);
            insert.setString(2, "an order of something, number " + id + ". ".repeat(100));
            insert.executeUpdate();
            delete.setInt(1, id - 500);
            delete.executeUpdate();
        }
    }
}
