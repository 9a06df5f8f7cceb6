package org.rlhf4j.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.core.importer.Location;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** Holds the arrows between packages: each points one way. */
@AnalyzeClasses(
    packages = "org.rlhf4j",
    importOptions = {
      ImportOption.DoNotIncludeTests.class,
      ArchitectureTest.WithoutPackagedTests.class
    })
class ArchitectureTest {
  /** From {@code mvn package} on, the test helpers of the core come as a jar. */
  static final class WithoutPackagedTests implements ImportOption {
    @Override
    public boolean includes(Location location) {
      return !location.contains("-tests.jar");
    }
  }

  @ArchTest
  static final ArchRule PYTORCH_ENGINE_STAYS_IN_TORCH =
      noClasses()
          .that()
          .resideOutsideOfPackage("org.rlhf4j.core.torch..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("ai.djl.pytorch..");

  @ArchTest
  static final ArchRule TOKENIZER_LIBRARY_STAYS_IN_TEXT =
      noClasses()
          .that()
          .resideOutsideOfPackage("org.rlhf4j.core.text..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("ai.djl.huggingface..");

  @ArchTest
  static final ArchRule CORE_KNOWS_NO_STAGE =
      noClasses()
          .that()
          .resideInAPackage("org.rlhf4j.core..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "org.rlhf4j.sft..",
              "org.rlhf4j.reward..",
              "org.rlhf4j.ppo..",
              "org.rlhf4j.raft..",
              "org.rlhf4j.rrhf..",
              "org.rlhf4j.eval..",
              "org.rlhf4j.cli..");

  @ArchTest
  static final ArchRule STAGES_KNOW_NO_OTHER_STAGE =
      slices()
          .matching("org.rlhf4j.(sft|reward|ppo|raft|rrhf|eval)..")
          .should()
          .notDependOnEachOther()
          .ignoreDependency(
              com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage(
                  "org.rlhf4j.ppo..",
                  "org.rlhf4j.raft..",
                  "org.rlhf4j.rrhf..",
                  "org.rlhf4j.eval.."),
              com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage(
                  "org.rlhf4j.reward.."));

  @ArchTest
  static final ArchRule NOBODY_USES_ANOTHER_STAGES_TRAINER =
      noClasses()
          .that()
          .resideInAnyPackage(
              "org.rlhf4j.sft..",
              "org.rlhf4j.ppo..",
              "org.rlhf4j.raft..",
              "org.rlhf4j.rrhf..",
              "org.rlhf4j.eval..")
          .should()
          .dependOnClassesThat()
          .haveFullyQualifiedName("org.rlhf4j.reward.RewardTrainer");

  @ArchTest
  static final ArchRule CORE_PACKAGES_HAVE_NO_CYCLES =
      slices().matching("org.rlhf4j.core.(*)..").should().beFreeOfCycles();

  @ArchTest
  static final ArchRule ROLL_OUTS_KNOW_NO_METHOD =
      noClasses()
          .that()
          .resideInAPackage("org.rlhf4j.ppo.rollout")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("org.rlhf4j.ppo", "org.rlhf4j.ppo.group");

  @ArchTest
  static final ArchRule PPO_KNOWS_NO_GROUP_METHOD =
      noClasses()
          .that()
          .resideInAPackage("org.rlhf4j.ppo")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.rlhf4j.ppo.group");

  @ArchTest
  static final ArchRule FILES_AND_TEXT_NEED_NO_TENSORS =
      noClasses()
          .that()
          .resideInAnyPackage(
              "org.rlhf4j.core.checkpoint..",
              "org.rlhf4j.core.text..",
              "org.rlhf4j.core.data..",
              "org.rlhf4j.core.config..",
              "org.rlhf4j.core.report..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("org.rlhf4j.core.torch..", "org.rlhf4j.core.model..");
}
