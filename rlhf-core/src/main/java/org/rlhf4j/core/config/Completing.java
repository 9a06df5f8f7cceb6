package org.rlhf4j.core.config;

/** A configuration record some of whose defaults stand in files that it names. */
public interface Completing {
  /**
   * Gives what stands in for the defaults of keys that are given nowhere. It is called on every
   * record that is sound by itself, before it is handed out.
   *
   * @param defaults takes them
   * @throws org.rlhf4j.core.RlhfException if a file cannot be used
   */
  void complete(Defaults defaults);

  /** Takes defaults. */
  interface Defaults {
    /**
     * Sets what stands in for a key's default.
     *
     * @param value a number, boolean, text, enum constant, a collection of these, or null for none
     * @param place where the value comes from; begins every message about it
     */
    void put(String key, Object value, String place);

    /** Says something about what was found. */
    void warn(String line);
  }
}
