package org.rlhf4j.cli.bench;

import java.nio.file.Path;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

/** The keys of {@code bench}: one kind of work on a random model of a given shape, or loading. */
public record BenchConfig(
    @Key(
            doc =
                "A config.json that gives the model's shape; for load, that of the model folder that"
                    + " is loaded.",
            existing = Key.Existing.FILE)
        Path shape,
    @Key(
            doc =
                "What is measured: steps of 8 rows of 128 tokens, steps of 8 pairs, 8 samples to"
                    + " each of 8 prompts, 64 + 64 tokens, or loading a language model once; ppo:"
                    + " roll-outs of 32 responses, 64 + 32 tokens, the two upper blocks trained for 4"
                    + " epochs; grpo and rloo: 8 responses to each of 4 prompts, all layers trained 4"
                    + " times, with a reference.")
        Workload workload,
    @Key(doc = "Numbers to compute with.", defaultValue = "fp32") DtypeChoice dtype,
    @Key(
            doc =
                "Lengths of the rows, for reward: 128 tokens, or 31 to 250 as dialogues have them.",
            defaultValue = "fixed")
        Lengths lengths,
    @Key(
            doc = "Nucleus, for sample; 1: the whole vocabulary.",
            defaultValue = "1",
            above = 0,
            atMost = 1)
        double topP,
    @Key(doc = "Timed steps or sampling calls.", defaultValue = "10", atLeast = 1) int steps,
    @Key(doc = "Steps before the timed ones.", defaultValue = "2", atLeast = 1) int warmup,
    @Key(
            doc = "Where to compute; N counts the GPUs from 0.",
            defaultValue = "auto",
            choices = {"auto", "cpu", "cuda", "cuda:N"})
        String device)
    implements Checked {
  @Override
  public void check(Problems problems) {
    if (workload != Workload.REWARD) {
      problems.warnUnused("unless workload is reward", "lengths");
    }
    if (workload != Workload.SAMPLE) {
      problems.warnUnused("unless workload is sample", "top_p");
    }
    if (workload == Workload.LOAD) {
      problems.warnUnused("where workload is load", "steps", "warmup");
    }
  }

  /** What is measured. */
  public enum Workload {
    /** Optimizer steps of 8 rows of 128 tokens. */
    SFT,
    /** Optimizer steps of 8 pairs. */
    REWARD,
    /** 8 samples to each of 8 prompts, 64 + 64 tokens. */
    SAMPLE,
    /** Roll-outs of 32 samples, 64 + 32 tokens, and 4 epochs on each. */
    PPO,
    /** Roll-outs of 4 prompts with 8 samples, 64 + 32 tokens, and 4 steps on each. */
    GRPO,
    /** The same with leave-one-out advantages. */
    RLOO,
    /** Reading a language model's folder once, ready to compute with. */
    LOAD
  }

  /** Lengths of rows. */
  public enum Lengths {
    /** 128 tokens each. */
    FIXED,
    /** As dialogues have them, 31 to 250 tokens. */
    MIXED
  }
}
