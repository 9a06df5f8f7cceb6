package org.rlhf4j.core.generate;

import java.util.List;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

/** How tokens are drawn and when a response ends. */
public record SamplingConfig(
    @Key(doc = "Draws tokens at random; false: always the likeliest.", defaultValue = "true")
        boolean doSample,
    @Key(doc = "Divides the logits before drawing.", defaultValue = "1", above = 0)
        double temperature,
    @Key(doc = "Draws from the k likeliest tokens only; 0: all.", defaultValue = "0", atLeast = 0)
        int topK,
    @Key(
            doc = "Draws from the likeliest tokens that hold this probability together; 1: all.",
            defaultValue = "1",
            above = 0,
            atMost = 1)
        double topP,
    @Key(
            doc = "Draws from tokens with at least this share of the likeliest one's probability.",
            defaultValue = "0",
            atLeast = 0,
            atMost = 1)
        double minP,
    @Key(
            doc = "Divides positive logits of tokens that occurred, multiplies negative; 1: off.",
            defaultValue = "1",
            above = 0)
        double repetitionPenalty,
    @Key(doc = "No run of so many tokens occurs twice; 0: off.", defaultValue = "0", atLeast = 0)
        int noRepeatNgramSize,
    @Key(doc = "Most tokens of a response.", defaultValue = "128", atLeast = 1) int maxNewTokens,
    @Key(doc = "Tokens before the end-of-sequence token may come.", defaultValue = "0", atLeast = 0)
        int minNewTokens,
    @Key(doc = "Texts that end a response.", defaultValue = Key.NONE) List<String> stop,
    @Key(
            doc = "Takes the end-of-sequence token for an ordinary one: generation goes on.",
            defaultValue = "false")
        boolean ignoreEos,
    @Key(doc = "Gives the end-of-sequence token probability 0.", defaultValue = "false")
        boolean suppressEos)
    implements Checked {
  @Override
  public void check(Problems problems) {
    problems.require(
        minNewTokens <= maxNewTokens,
        "min_new_tokens " + minNewTokens + " is more than max_new_tokens " + maxNewTokens);
    if (!doSample) {
      problems.warnUnused("unless do_sample is true", "temperature", "top_k", "top_p", "min_p");
    }
    problems.require(!(ignoreEos && suppressEos), "ignore_eos and suppress_eos exclude each other");
  }
}
