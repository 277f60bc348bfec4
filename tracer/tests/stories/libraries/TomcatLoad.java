import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Files;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** A decoy: Tomcat under a steady load; its pool of threads fills to its least size. */
final class TomcatLoad {
    private static final class Hello extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.getOutputStream().write(new byte[5_000]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(0);
        Context context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "hello", new Hello());
        context.addServletMappingDecoded("/*", "hello");
        tomcat.getConnector();
        tomcat.start();
        URL url = new URL("http://127.0.0.1:" + tomcat.getConnector().getLocalPort() + "/");
        for (int i = 0; i < 50; i++) {
            get(url);
        }
        Story.tell(pace -> run(pace, url));
    }

    private static String run(Story.Pace pace, URL url) throws Exception {
        while (pace.next(60)) {
            get(url);
            Story.litter(100_000);
        }
        return Story.done();
    }

    private static int get(URL url) throws IOException {
        try (InputStream answer = url.openStream()) {
            return answer.readAllBytes().length;
        }
    }
}
