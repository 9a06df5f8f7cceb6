package org.rlhf4j.reward;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import org.rlhf4j.core.RlhfException;

/** Collects an answer, but not one that would fill the memory. */
final class BoundedBody implements HttpResponse.BodySubscriber<byte[]> {
  private final URI url;
  private final int largest;
  private final CompletableFuture<byte[]> body = new CompletableFuture<>();
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private Flow.Subscription subscription;

  /** An answer of at most {@code largest} bytes. */
  BoundedBody(URI url, int largest) {
    this.url = url;
    this.largest = largest;
  }

  @Override
  public CompletionStage<byte[]> getBody() {
    return body;
  }

  @Override
  public void onSubscribe(Flow.Subscription given) {
    subscription = given;
    subscription.request(Long.MAX_VALUE);
  }

  @Override
  public void onNext(List<ByteBuffer> buffers) {
    for (ByteBuffer buffer : buffers) {
      if (body.isDone()) {
        return;
      } else if (buffer.remaining() > largest - bytes.size()) {
        subscription.cancel();
        body.completeExceptionally(
            RlhfException.input(
                "%s: the answer has more than the %d bytes that are read".formatted(url, largest)));
        return;
      }
      byte[] part = new byte[buffer.remaining()];
      buffer.get(part);
      bytes.writeBytes(part);
    }
  }

  @Override
  public void onError(Throwable failure) {
    body.completeExceptionally(failure);
  }

  @Override
  public void onComplete() {
    body.complete(bytes.toByteArray());
  }
}
