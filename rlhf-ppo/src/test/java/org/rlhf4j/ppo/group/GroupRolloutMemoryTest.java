package org.rlhf4j.ppo.group;

import static org.rlhf4j.ppo.RolloutMemoryTest.ALLOWED_MIB;
import static org.rlhf4j.ppo.RolloutMemoryTest.SAMPLING;
import static org.rlhf4j.ppo.RolloutMemoryTest.draw;
import static org.rlhf4j.ppo.RolloutMemoryTest.responses;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;

/** Roll-outs of groups leave nothing behind. */
class GroupRolloutMemoryTest {
  @TempDir Path temporary;

  private GrpoConfig config() throws IOException {
    return Config.of(GrpoConfig.class)
        .set("model_name_or_path", TinyModel.causalLm(temporary.resolve("model"), 1).toString())
        .set(
            "dataset_path",
            Files.write(temporary.resolve("prompts.jsonl"), List.of("{\"prompt\": \"Tell\"}"))
                .toString())
        .set("output_dir", temporary.resolve("run").toString())
        .set("dtype", "fp32")
        .build();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void leaveNothingBehind(boolean reference) throws IOException {
    GrpoConfig config = config();
    try (TrainingRun run =
            TrainingRun.open("grpo", config, config.training(), RunContext.silent());
        GroupNetworks networks =
            GroupNetworks.load(
                run.torch(),
                run.start(),
                new GroupNetworks.Options(
                    run.computeType(), null, 1, 1, reference, 1, Recording.FULL));
        Generator generator =
            Generator.of(networks.policy(), run.start(), run.tokenizer(), SAMPLING)) {
      GroupRollouts rollouts =
          new GroupRollouts(
              run,
              networks,
              responses(run, generator, 4),
              new GroupRollouts.Settings(2, 4, new StopSignal()));
      NativeMemory.assertStays(
          run.torch(),
          100,
          ALLOWED_MIB,
          number -> {
            try (GroupTrunk trunk = new GroupTrunk(run.torch())) {
              rollouts.make(draw(number), 2, true, trunk);
            }
            rollouts.make(draw(number), 2, false, null);
          });
    }
  }
}
