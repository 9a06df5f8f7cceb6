package org.rlhf4j.ppo;

import java.util.List;

/**
 * What trlX makes of a chunk of responses.
 *
 * @param samples one for each response
 * @param klOfResponse mean over responses of the summed {@code exp(d) - 1 - d} with {@code d} the
 *     log-ratio to the reference, over prompt and response
 * @param klOfToken the same, mean over all tokens of the padded chunk
 */
record TrlxExperience(List<TrlxSample> samples, double klOfResponse, double klOfToken) {}
