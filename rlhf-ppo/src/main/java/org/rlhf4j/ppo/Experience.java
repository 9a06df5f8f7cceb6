package org.rlhf4j.ppo;

import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.ppo.rollout.Responses;

/**
 * A response to learn from. All arrays but the first are of its tokens, {@code [tokens]}.
 *
 * @param index the prompt's row in its data set
 * @param promptIds the prompt as the model read it
 * @param ids the response as it was sampled
 * @param logProbs of the policy that sampled it, in nats
 * @param referenceLogProbs of the reference, in nats
 * @param values of the states in which the tokens were chosen
 * @param rewards with the KL penalty
 * @param advantages as the loss takes them
 * @param returns what the values shall become
 * @param padded null but where trlX is followed: then log-probabilities, values and rewards are
 *     those of a {@link TrlxSample}, and advantages and returns are empty, since its steps estimate
 *     them
 */
record Experience(
    int index,
    int[] promptIds,
    int[] ids,
    float[] logProbs,
    float[] referenceLogProbs,
    float[] values,
    double[] rewards,
    double[] advantages,
    double[] returns,
    Padded padded) {

  /**
   * The padding that trlX counts.
   *
   * @param promptWidth of the chunk's prompts
   * @param responseWidth of its responses
   */
  record Padded(int promptWidth, int responseWidth) {}

  /** The response behind its prompt; the response's tokens are the targets. */
  TokenRow row() {
    return Responses.row(promptIds, ids);
  }
}
