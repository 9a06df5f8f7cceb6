package org.rlhf4j.cli;

import java.util.List;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/** The verbs there are, in the order of the help. */
final class Verbs {
  static final List<Verb<?>> ALL =
      List.of(
          new TrainerVerb<>(
              "sft",
              "Supervised fine-tuning of a language model on texts, completions or dialogues.",
              SftConfig.class,
              (config, context) -> new SftTrainer(config, context).train()),
          new GenerateVerb(),
          new ScoreVerb(),
          new InspectVerb(),
          new BenchVerb());

  private Verbs() {}
}
