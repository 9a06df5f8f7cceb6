package org.rlhf4j.cli;

import java.util.List;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.PpoConfig;
import org.rlhf4j.ppo.PpoTrainer;
import org.rlhf4j.ppo.group.GrpoConfig;
import org.rlhf4j.ppo.group.GrpoTrainer;
import org.rlhf4j.ppo.group.ReinforcePlusPlusConfig;
import org.rlhf4j.ppo.group.ReinforcePlusPlusTrainer;
import org.rlhf4j.ppo.group.RlooConfig;
import org.rlhf4j.ppo.group.RlooTrainer;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.RaftTrainer;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.reward.RewardTrainer;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/** The verbs there are, in the order of the help. */
final class Verbs {
  static final List<Verb<?>> ALL =
      List.of(
          new TrainerVerb<>(
              "sft",
              "Supervised fine-tuning of a language model on texts, completions or dialogues.",
              "sft --config configs/hh-sft-tiny.yaml",
              SftConfig.class,
              (config, context) -> new SftTrainer(config, context).train(),
              (config, checks) -> new SftTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "reward",
              "Pairwise reward model of preference pairs.",
              "reward --config configs/hh-reward-tiny.yaml",
              RewardConfig.class,
              (config, context) -> new RewardTrainer(config, context).train(),
              (config, checks) -> new RewardTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "raft",
              "Best-of-K sampling and fine-tuning on what a reward model likes.",
              "raft --config configs/hh-raft-tiny.yaml",
              RaftConfig.class,
              (config, context) -> new RaftTrainer(config, context).train(),
              (config, checks) -> new RaftTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "ppo",
              "Proximal policy optimisation of what a reward model likes, near a reference.",
              "ppo --config configs/hh-ppo-tiny.yaml",
              PpoConfig.class,
              (config, context) -> new PpoTrainer(config, context).train(),
              (config, checks) -> new PpoTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "rloo",
              "REINFORCE on groups of responses, each compared with the mean of the others.",
              "rloo --config configs/hh-rloo-tiny.yaml",
              RlooConfig.class,
              (config, context) -> new RlooTrainer(config, context).train(),
              (config, checks) -> new RlooTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "grpo",
              "Group relative policy optimisation: responses are compared within their group.",
              "grpo --config configs/hh-grpo-tiny.yaml",
              GrpoConfig.class,
              (config, context) -> new GrpoTrainer(config, context).train(),
              (config, checks) -> new GrpoTrainer(config, RunContext.silent()).check(checks)),
          new TrainerVerb<>(
              "reinforce-pp",
              "REINFORCE++: advantages normalised over all tokens of a roll-out.",
              "reinforce-pp --config configs/hh-reinforce-pp-tiny.yaml",
              ReinforcePlusPlusConfig.class,
              (config, context) -> new ReinforcePlusPlusTrainer(config, context).train(),
              (config, checks) ->
                  new ReinforcePlusPlusTrainer(config, RunContext.silent()).check(checks)),
          new GenerateVerb(),
          new ScoreVerb(),
          new ServeRewardVerb(),
          new SelectVerb(),
          new InspectVerb(),
          new DeltaVerb(),
          new MergeLoraVerb(),
          new BenchVerb(),
          new QuickStartVerb(),
          new DemoVerb());

  private Verbs() {}
}
