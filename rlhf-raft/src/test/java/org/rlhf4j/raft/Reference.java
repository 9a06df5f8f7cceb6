package org.rlhf4j.raft;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.train.Compute;

/** Log-probabilities of whole responses, one row at a time. */
final class Reference implements AutoCloseable {
  private final Compute compute;
  private final CausalLm model;

  Reference(Path folder) {
    compute = Compute.open("cpu", DtypeChoice.FP32);
    model =
        ModelLoader.causalLm(
            compute.torch(),
            ModelFolder.open(folder),
            new ModelLoader.Options(compute.type(), false));
  }

  double logProb(int[] prompt, int[] response) {
    int[] ids = Arrays.copyOf(prompt, prompt.length + response.length);
    System.arraycopy(response, 0, ids, prompt.length, response.length);
    List<TokenRow> rows = new ArrayList<>();
    rows.add(TokenRow.allTargets(ids));
    float[] all = model.logProbs(TokenBatch.ofTargets(rows), false).logProbs();
    double sum = 0;
    // Number i predicts token i + 1.
    for (int i = prompt.length - 1; i < all.length; i++) {
      sum += all[i];
    }
    return sum;
  }

  @Override
  public void close() {
    model.close();
    compute.close();
  }
}
