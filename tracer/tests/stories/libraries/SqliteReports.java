import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;

/** A statement is prepared for each report and never closed; its connection stays open, and knows it. */
final class SqliteReports {
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        Connection store = DriverManager.getConnection("jdbc:sqlite::memory:");
        try (Statement statement = store.createStatement()) {
            statement.executeUpdate("create table sale (day integer, shop text, amount integer)");
            for (int day = 0; day < 200; day++) {
                statement.executeUpdate("insert into sale values (" + day + ", 'north', " + day * 7 + ")");
            }
        }
        query(store, 0);
        Story.tell(pace -> run(pace, store));
    }

    private static String run(Story.Pace pace, Connection store) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(50); i++) {
            query(store, i);
        }
        return Story.done();
    }

    private static void query(Connection store, int day) throws Exception {
        PreparedStatement report = store.prepareStatement(
            "select day, sum(amount) from sale where day > " + day % 200 + " group by shop order by day");
        ResultSet rows = report.executeQuery();
        while (rows.next()) {
            sum += rows.getLong(2);
        }
    }
}
