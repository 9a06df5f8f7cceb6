package org.rlhf4j.ppo;

import org.rlhf4j.ppo.rollout.Floats;

/**
 * What trlX keeps of a response. The arrays go from the last token of the prompt, which predicts
 * the first of the response, to positions behind the response.
 *
 * @param prompt ids without padding
 * @param promptWidth to which its chunk was padded on the left
 * @param response ids after the way through text, without padding
 * @param responseWidth to which its chunk was padded on the right
 * @param logProbs {@code [positions]}
 * @param referenceLogProbs {@code [positions]}
 * @param values {@code [positions]}
 * @param rewards {@code [positions]}
 */
record TrlxSample(
    int[] prompt,
    int promptWidth,
    int[] response,
    int responseWidth,
    double[] logProbs,
    double[] referenceLogProbs,
    double[] values,
    double[] rewards) {
  /** As it is kept among the state of a run. */
  Experience kept(int index) {
    double[] none = {};
    return new Experience(
        index,
        prompt,
        response,
        Floats.narrow(logProbs),
        Floats.narrow(referenceLogProbs),
        Floats.narrow(values),
        rewards,
        none,
        none,
        new Experience.Padded(promptWidth, responseWidth));
  }

  /** Of what {@link #kept} gave. */
  static TrlxSample of(Experience kept) {
    return new TrlxSample(
        kept.promptIds(),
        kept.padded().promptWidth(),
        kept.ids(),
        kept.padded().responseWidth(),
        Floats.wide(kept.logProbs()),
        Floats.wide(kept.referenceLogProbs()),
        Floats.wide(kept.values()),
        kept.rewards());
  }
}
