package org.rlhf4j.raft;

import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

/**
 * The keys that {@code raft} and {@code select} choose responses by. {@link #discardPattern()} is
 * null where none is set.
 */
public record SelectionConfig(
    @Key(
            doc = "Where the best are looked for: among a prompt's responses or among all.",
            defaultValue = "per_prompt",
            aliases = {"collection_strategy"})
        Selection selection,
    @Key(
            doc =
                "Share of the responses that is kept; per_prompt keeps at least one of each prompt.",
            defaultValue = "0.125",
            above = 0,
            atMost = 1,
            aliases = {"top_reward_percentage"})
        double keepFraction,
    @Key(
            doc = "Regular expression; a response in which it is found is never kept. LMFlow: '#'.",
            defaultValue = Key.NONE)
        String discardPattern,
    @Key(doc = "Which of two responses with equal scores is kept.", defaultValue = "first")
        TieBreak tieBreak)
    implements Checked {
  /** How responses are selected. */
  RaftSelection.Rule rule() {
    return new RaftSelection.Rule(
        selection,
        keepFraction,
        tieBreak,
        discardPattern == null ? null : Pattern.compile(discardPattern));
  }

  @Override
  public void check(Problems problems) {
    try {
      Pattern.compile(discardPattern == null ? "" : discardPattern);
    } catch (PatternSyntaxException e) {
      problems.add("discard_pattern: " + discardPattern + " is no pattern: " + e.getDescription());
    }
  }
}
