import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.AbstractHandler;
import org.eclipse.jetty.server.handler.gzip.GzipHandler;

/** A decoy: pages of a server that compresses them, asked for by one client after the other. */
final class JettyPages {
    private static long bytes;

    /** A page of some size. */
    private static final class Page extends AbstractHandler {
        @Override
        public void handle(String path, Request base, HttpServletRequest request, HttpServletResponse response)
                throws java.io.IOException {
            base.setHandled(true);
            response.setContentType("text/html");
            for (int i = 0; i < 400; i++) {
                response.getWriter().print("<p>line " + i + " of " + path + "</p>");
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Server server = new Server(0);
        GzipHandler packed = new GzipHandler();
        packed.setHandler(new Page());
        server.setHandler(packed);
        server.start();
        int port = ((ServerConnector) server.getConnectors()[0]).getLocalPort();
        for (int i = 0; i < 300; i++) {
            ask(port, i);
        }
        Story.tell(pace -> run(pace, port));
    }

    private static String run(Story.Pace pace, int port) throws Exception {
        for (int i = 0; pace.next(60); i++) {
            ask(port, i);
        }
        return Story.done();
    }

    private static void ask(int port, int page) throws Exception {
        URL url = new URL("http://127.0.0.1:" + port + "/page/" + page % 50);
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestProperty("Accept-Encoding", "gzip");
        try (InputStream in = connection.getInputStream()) {
            bytes += in.readAllBytes().length;
        }
    }
}
