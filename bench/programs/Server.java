import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.logging.Level;
import java.util.logging.Logger;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * Tomcat with one page, a table of a shop's articles, compressed as browsers ask for it: each response takes a
 * Deflater, and so native memory. Says {@code ready} and the port on 127.0.0.1, a free one; ends when stdin closes.
 */
public final class Server {
    private static final int ARTICLES = 5_000;
    private static final int ROWS = 120;

    private static final class Page extends HttpServlet {
        private static final long serialVersionUID = 1;

        private final String[] names = new String[ARTICLES];

        Page() {
            for (int i = 0; i < ARTICLES; i++) {
                names[i] = "Article " + Integer.toString(i * 7919 % ARTICLES, 36) + " & more <" + i + ">";
            }
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            int first = Integer.parseInt(request.getParameter("first"));
            response.setContentType("text/html;charset=UTF-8");
            PrintWriter page = response.getWriter();
            page.print("<!DOCTYPE html><title>Articles</title><table>");
            for (int i = 0; i < ROWS; i++) {
                int article = (first + i * 31) % ARTICLES;
                page.print("<tr><td>");
                page.print(article);
                page.print("<td>");
                page.print(escaped(names[article]));
                page.print("<td>");
                page.print(String.format(Locale.ROOT, "%d.%02d", article % 90, article % 100));
            }
            page.print("</table>");
        }

        private static String escaped(String text) {
            return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
        }
    }

    public static void main(String[] arguments) throws Exception {
        Logger.getLogger("org.apache").setLevel(Level.WARNING);
        Path base = Path.of(arguments[0]);
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.setPort(0);
        Connector connector = tomcat.getConnector();
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("compression", "on");
        // A connection serves as many requests as it is asked for.
        connector.setProperty("maxKeepAliveRequests", "-1");
        Context context = tomcat.addContext("", base.toString());
        Tomcat.addServlet(context, "page", new Page());
        context.addServletMappingDecoded("/", "page");
        tomcat.start();
        System.out.println("ready " + connector.getLocalPort());
        while (System.in.read() >= 0) {}
        System.exit(0);
    }
}
