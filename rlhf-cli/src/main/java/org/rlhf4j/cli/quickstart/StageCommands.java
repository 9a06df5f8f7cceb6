package org.rlhf4j.cli.quickstart;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.torch.Torch;

/**
 * The four trainings on a toy world.
 *
 * @param folder that holds its data and models
 * @param sft supervised fine-tuning of the pretrained model
 * @param reward a reward model on top of the SFT model
 * @param raft RAFT from the SFT model
 * @param ppo PPO from the SFT model
 */
record StageCommands(
    Path folder, StageCommand sft, StageCommand reward, StageCommand raft, StageCommand ppo) {
  static final String FILE = "commands.sh";

  /** Rows or pairs of a step. */
  static final int BATCH_SIZE = 16;

  static final int EPOCHS_PER_ITERATION = 2;

  static final int PPO_EPOCHS = 4;

  /** Samples of a step of PPO. */
  static final int PPO_BATCH_SIZE = 64;

  /** Longest request with its story, in tokens. */
  private static final int LONGEST_ROW = 200;

  static StageCommands of(Path folder, Recipe recipe, long seed) {
    Map<String, Object> sft = new LinkedHashMap<>();
    sft.put("model_name_or_path", folder.resolve("base"));
    sft.put("dataset_path", folder.resolve("sft.jsonl"));
    sft.put("eval_dataset_path", folder.resolve("sft-eval.jsonl"));
    sft.put("learning_rate", recipe.rates().sft());
    sft.put("num_train_epochs", recipe.rates().sftEpochs());
    sft.put("eval_steps", 50);
    Map<String, Object> reward = new LinkedHashMap<>();
    reward.put("model_name_or_path", folder.resolve("sft"));
    reward.put("dataset_path", folder.resolve("pairs.jsonl"));
    reward.put("eval_dataset_path", folder.resolve("pairs-eval.jsonl"));
    reward.put("learning_rate", recipe.rates().reward());
    reward.put("num_train_epochs", recipe.rates().rewardEpochs());
    reward.put("center_rewards_coefficient", 0.01);
    reward.put("eval_steps", 50);
    Map<String, Object> raft = online(folder);
    raft.put("learning_rate", recipe.rates().raft());
    raft.put("num_raft_iterations", recipe.raft().iterations());
    raft.put("prompts_per_iteration", recipe.raft().prompts());
    raft.put("samples_per_prompt", 8);
    raft.put("epochs_per_iteration", EPOCHS_PER_ITERATION);
    raft.put("temperature", 1);
    Map<String, Object> ppo = online(folder);
    ppo.put("learning_rate", recipe.rates().ppo());
    ppo.put("total_episodes", recipe.ppo().rollouts() * recipe.ppo().samples());
    ppo.put("rollout_batch_size", recipe.ppo().samples());
    ppo.put("mini_batch_size", Math.min(PPO_BATCH_SIZE, recipe.ppo().samples()));
    ppo.put("num_ppo_epochs", PPO_EPOCHS);
    ppo.put("kl_coef", recipe.ppo().klCoefficient());
    ppo.put("lam", 1);
    ppo.put("vf_coef", 1);
    ppo.put("num_layers_unfrozen", 2);
    return new StageCommands(
        folder,
        command("sft", sft, BATCH_SIZE, seed),
        command("reward", reward, BATCH_SIZE, seed),
        command("raft", raft, BATCH_SIZE, seed),
        command("ppo", ppo, PPO_BATCH_SIZE, seed));
  }

  /** What the methods that sample have in common. */
  private static Map<String, Object> online(Path folder) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("model_name_or_path", folder.resolve("sft"));
    keys.put("reward_model_name_or_path", folder.resolve("reward"));
    keys.put("dataset_path", folder.resolve("prompts.jsonl"));
    keys.put("max_new_tokens", ToyData.LONGEST);
    keys.put("generation_batch_size", Storyteller.BATCH_SIZE);
    return keys;
  }

  private static StageCommand command(
      String verb, Map<String, Object> keys, int batchSize, long seed) {
    keys.put("max_length", LONGEST_ROW);
    keys.put("per_device_train_batch_size", batchSize);
    keys.put("logging_steps", 5);
    keys.put("save_strategy", "no");
    keys.put("seed", seed);
    keys.put("dtype", "fp32");
    keys.put("device", "cpu");
    return new StageCommand(verb, keys);
  }

  /**
   * Leaves the script that repeats the trainings. Sums depend in their last bits on the number of
   * threads and on how products are computed, so both stand in it.
   *
   * @param torch that the numbers were computed with
   */
  void write(Torch torch) {
    String script =
        """
        #!/usr/bin/env bash
        # Repeats the trainings of this quick start from the data beside this file, to the same bits.
        # Each stands on its own. Run it from the folder that holds ./rlhf, or name that: RLHF=…/rlhf
        set -euo pipefail
        here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
        rlhf=${RLHF:-./rlhf}
        export RLHF_JAVA_OPTS="${RLHF_JAVA_OPTS:-} -Dorg.rlhf4j.products=%s"

        """
                .formatted(torch.products().name().toLowerCase(Locale.ROOT))
            + Stream.of(sft, reward, raft, ppo)
                .map(command -> command.shell(folder, torch.threads()))
                .collect(Collectors.joining("\n"));
    Path file = folder.resolve(FILE);
    AtomicFiles.write(file, script.getBytes(StandardCharsets.UTF_8));
    if (!file.toFile().setExecutable(true)) {
      throw new IllegalStateException(file + " was just written and can be made executable");
    }
  }
}
