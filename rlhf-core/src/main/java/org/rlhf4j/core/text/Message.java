package org.rlhf4j.core.text;

/**
 * One turn of a conversation.
 *
 * @param role who speaks
 * @param content what is said, without any header or end token
 */
public record Message(Role role, String content) {
  /** Who speaks. */
  public enum Role {
    SYSTEM,
    USER,
    ASSISTANT
  }
}
