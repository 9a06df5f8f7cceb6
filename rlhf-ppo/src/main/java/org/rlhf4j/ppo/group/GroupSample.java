package org.rlhf4j.ppo.group;

import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.ppo.rollout.Lengths;
import org.rlhf4j.ppo.rollout.Responses;

/**
 * A response to learn from. All arrays but the first are of its tokens, {@code [tokens]}.
 *
 * @param index the prompt's row in its data set
 * @param promptIds the prompt as the model read it
 * @param ids the response as it was sampled
 * @param logProbs of the policy that sampled it, in nats; null where that is the one that learns
 * @param referenceLogProbs of the reference, in nats; null without one
 * @param advantages as the loss takes them
 */
public record GroupSample(
    int index,
    int[] promptIds,
    int[] ids,
    float[] logProbs,
    float[] referenceLogProbs,
    double[] advantages) {
  /** Checks the lengths. */
  public GroupSample {
    Lengths.require("advantages", advantages.length, ids.length);
    if (logProbs != null) {
      Lengths.require("log-probabilities", logProbs.length, ids.length);
    }
    if (referenceLogProbs != null) {
      Lengths.require("reference log-probabilities", referenceLogProbs.length, ids.length);
    }
  }

  /** The response behind its prompt; the response's tokens are the targets. */
  TokenRow row() {
    return Responses.row(promptIds, ids);
  }
}
