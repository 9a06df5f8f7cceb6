package org.rlhf4j.ppo;

/**
 * What trlX keeps of a response. The arrays go from the last token of the prompt, which predicts
 * the first of the response, to positions behind the response.
 *
 * @param prompt ids without padding
 * @param promptWidth to which its chunk was padded on the left
 * @param response ids after the way through text, without padding
 * @param responseWidth to which its chunk was padded on the right
 * @param logProbs {@code [positions]}
 * @param values {@code [positions]}
 * @param rewards {@code [positions]}
 */
record TrlxSample(
    int[] prompt,
    int promptWidth,
    int[] response,
    int responseWidth,
    double[] logProbs,
    double[] values,
    double[] rewards) {}
