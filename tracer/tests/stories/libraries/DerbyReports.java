import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;

/**
 * Each report is a statement with the day written into it, closed after it. Derby makes a class for each, and forgets those beyond
 * its hundred statements; no collection has looked at them yet.
 */
final class DerbyReports {
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        System.setProperty("derby.stream.error.file", "/dev/null");
        new org.apache.derby.jdbc.EmbeddedDriver();
        Connection store = DriverManager.getConnection("jdbc:derby:memory:shop;create=true");
        try (Statement statement = store.createStatement()) {
            statement.executeUpdate("create table sale (sold int, shop varchar(20), amount int)");
            for (int day = 0; day < 100; day++) {
                statement.executeUpdate("insert into sale values (" + day + ", 'north', " + day * 7 + ")");
            }
        }
        for (int i = 0; i < 150; i++) {
            query(store, -i);
        }
        System.gc();
        Story.tell(pace -> run(pace, store));
    }

    private static String run(Story.Pace pace, Connection store) throws Exception {
        for (int i = 1; pace.next(12); i++) {
            query(store, i);
        }
        return Story.done();
    }

    private static void query(Connection store, int day) throws Exception {
        try (Statement report = store.createStatement();
             ResultSet rows = report.executeQuery("select shop, sum(amount) from sale where sold > " + day + " group by shop")) {
            while (rows.next()) {
                sum += rows.getLong(2);
            }
        }
    }
}
