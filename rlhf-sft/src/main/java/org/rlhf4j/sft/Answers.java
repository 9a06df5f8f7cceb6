package org.rlhf4j.sft;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.core.train.TrainingRun;

/** What a model answers, greedily, where the first few evaluation rows have their targets. */
final class Answers {
  private static final int MOST = 8;
  private static final int NEW_TOKENS = 64;
  private static final SamplingConfig GREEDY =
      new SamplingConfig(false, 1, 0, 1, 0, 1, 0, NEW_TOKENS, 0, List.of(), false, false);

  private Answers() {}

  /** The run's model has a tokenizer. */
  static List<Sample> of(TrainingRun run, CausalLm model, EncodedDataset<TokenRow> held) {
    List<PromptRow> prompts = new ArrayList<>();
    for (int i = 0; i < Math.min(MOST, held.size()); i++) {
      TokenRow row = held.rows().get(i);
      int[] ids = Arrays.copyOf(row.ids(), row.firstTarget());
      prompts.add(new PromptRow(held.origins().get(i).index(), run.tokenizer().decode(ids), ids));
    }
    List<Sample> samples = new ArrayList<>();
    try (Generator generator = Generator.of(model, run.start(), run.tokenizer(), GREEDY)) {
      List<List<Response>> responses =
          generator.generate(prompts, new Generator.Plan(1, MOST, 0, 0), done -> {});
      for (int i = 0; i < prompts.size(); i++) {
        PromptRow prompt = prompts.get(i);
        Response answer = responses.get(i).get(0);
        samples.add(
            new Sample(
                prompt.index(),
                prompt.text(),
                answer.text(),
                null,
                null,
                answer.tokenIds().length));
      }
    }
    return samples;
  }
}
