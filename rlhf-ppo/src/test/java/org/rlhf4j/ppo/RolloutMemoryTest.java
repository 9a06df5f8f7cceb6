package org.rlhf4j.ppo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Rewards;

/** Roll-outs leave nothing behind, whatever the networks are. */
public class RolloutMemoryTest {
  public static final double ALLOWED_MIB = 8;
  public static final SamplingConfig SAMPLING =
      Config.of(SamplingConfig.class).set("max_new_tokens", 6).build();

  @TempDir Path temporary;
  private Path model;
  private Path prompts;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    prompts = Files.write(temporary.resolve("prompts.jsonl"), List.of("{\"prompt\": \"Tell\"}"));
  }

  /** Four prompts, others with every number. */
  public static Responses.Draw draw(int number) {
    List<PromptRow> rows = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int[] ids = new int[3 + (number + i) % 5];
      Arrays.setAll(ids, t -> 5 + (t + number) % 90);
      rows.add(new PromptRow(i, "", ids));
    }
    return new Responses.Draw("test", rows, Map.of(), number);
  }

  private PpoConfig config(boolean usePeft) {
    return Config.of(PpoConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve("run").toString())
        .set("dtype", "fp32")
        .set("use_peft", usePeft)
        .build();
  }

  public static Responses responses(TrainingRun run, Generator generator, int batchSize) {
    return new Responses(
        run,
        generator,
        new Rewards(completions -> new double[completions.size()], null, false),
        new Responses.Settings(batchSize, 1, new StopSignal()));
  }

  @ParameterizedTest
  @CsvSource({
    "POLICY_HEAD, 1, 0, false, 200",
    "POLICY_HEAD, 2, 1, false, 100",
    "REFERENCE_BRANCH, 1, 1, false, 100",
    "SEPARATE, -1, 0, false, 100",
    "POLICY_HEAD, -1, 0, true, 100"
  })
  void ofPpo(ValueNetwork value, int unfrozen, int valueLayers, boolean lora, int steps) {
    PpoConfig config = config(lora);
    try (TrainingRun run = TrainingRun.open("ppo", config, config.training(), RunContext.silent());
        PpoNetworks networks =
            PpoNetworks.load(
                run.torch(),
                run.start(),
                new PpoNetworks.Options(
                    run.computeType(),
                    run.trainable().lora(),
                    1,
                    unfrozen,
                    value,
                    valueLayers,
                    null,
                    1,
                    Recording.FULL));
        Generator generator =
            Generator.of(networks.policy(), run.start(), run.tokenizer(), SAMPLING)) {
      Responses.Settings settings = new Responses.Settings(3, 1, new StopSignal());
      Rollouts rollouts = new Rollouts(run, networks, responses(run, generator, 3), settings);
      NativeMemory.assertStays(
          run.torch(),
          steps,
          ALLOWED_MIB,
          number -> {
            try (TrunkCache cache = new TrunkCache(run.torch(), 4)) {
              rollouts.make(draw(number), cache);
            }
            rollouts.make(draw(number), null);
          });
    }
  }
}
