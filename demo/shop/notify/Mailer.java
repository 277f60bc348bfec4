package shop.notify;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Sends mail in the background. */
public final class Mailer {
    /** The leak: an executor for each mail, which nobody shuts down; its thread waits for ever. */
    public void send(int order) {
        ExecutorService executor = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, "mail-" + order);
            thread.setDaemon(true);
            return thread;
        });
        executor.execute(() -> Thread.onSpinWait());
    }
}
