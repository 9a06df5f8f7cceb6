package org.rlhf4j.reward;

import org.rlhf4j.core.RlhfException;

/** The word that a reward server and its clients share, where one is set. */
public final class RewardToken {
  /** The environment variable that holds it. */
  public static final String VARIABLE = "RLHF4J_REWARD_TOKEN";

  private RewardToken() {}

  /**
   * What the environment says.
   *
   * @return null where the variable is not set or empty
   * @throws RlhfException if it holds what cannot stand in a header
   */
  public static String fromEnvironment() {
    String token = System.getenv(VARIABLE);
    return token == null || token.isEmpty() ? null : checked(token);
  }

  /** The token itself, where it can be sent. */
  static String checked(String token) {
    if (!token.matches("[!-~]+")) {
      throw RlhfException.config(
          VARIABLE + ": a token consists of visible ASCII characters, without blanks");
    }
    return token;
  }
}
